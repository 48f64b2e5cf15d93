"""Pages of the purchases."""

from __future__ import annotations

from django.urls import path

from purchases import views

urlpatterns = [
    path("", views.index, name="index"),
    path("<int:pk>/", views.purchase_page, name="purchase"),
    path("<int:pk>/decide/", views.decide, name="decide"),
    path("<int:pk>/status/", views.status, name="status"),
]
