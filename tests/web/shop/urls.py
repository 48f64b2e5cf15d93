"""Pages of the project."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from tests.web.shop.orders import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("orders/<str:name>", views.create),
    path("async/<str:name>", views.create_async),
]
