"""A Django project as it might exist already: an app with a model, views and definitions."""
