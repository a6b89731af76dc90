"""The HTTP side: the application, the JSON API, the event stream, authentication and the live page."""
