"""The languages that users are written to in. To add one: docs/extending/language.md."""

LANGUAGES = ("en", "es")
"""The first one is for users who accept none of them."""
