from django.http import JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST

from accounts.models import User
from orders.services import place_order


@require_POST
def orders(request):
    customer = get_object_or_404(User, pk=request.POST["customer"])
    order = place_order(customer, request.POST["total"])
    return JsonResponse({"id": order.pk}, status=201)
