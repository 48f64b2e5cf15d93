"""Views that start workflows in transactions."""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from orchestration.integrations.django import astart_workflow, async_client, signal, start_workflow
from tests.web.shop.orders.models import Order


class RolledBackError(Exception):
    """The view changes its mind."""


@csrf_exempt
def create(request: HttpRequest, name: str) -> HttpResponse:
    """Make an order and start its workflow; with ``?fail=1`` everything is taken back."""
    try:
        with transaction.atomic():
            Order.objects.create(name=name)
            handle = start_workflow("orders:fulfil", name, id=f"order-{name}")
            start_workflow("orders:collect", 3, id=f"signals-{name}")
            for number in range(3):
                signal(f"signals-{name}", "number", {"n": number})
            if request.GET.get("fail"):
                raise RolledBackError
    except RolledBackError:
        return JsonResponse({"rolled_back": True}, status=409)
    return JsonResponse({"id": handle.id})


async def create_async(request: HttpRequest, name: str) -> HttpResponse:
    """The same without a transaction, waiting for the result in the event loop."""
    del request
    handle = await astart_workflow("orders:fulfil", name, id=f"order-{name}")
    result = await async_client().get_workflow(handle.id).result(timeout=20)
    return JsonResponse({"result": result})


create_async.csrf_exempt = True  # the decorator knows async views from Django 5.0 on
