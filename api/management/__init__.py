"""The management and report API under ``/v1``: definitions, states, reports, explanations. APIFlask and pydantic."""
