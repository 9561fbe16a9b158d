"""The web application: who may call, bodies and answers, commands, operations, problem details, OpenAPI."""
