"""The same job with other libraries: accept over HTTP, insert a row. They run in an environment of their own."""
