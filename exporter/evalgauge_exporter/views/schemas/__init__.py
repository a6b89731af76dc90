"""The JSON shapes of the API, as pydantic models and typed dictionaries."""
