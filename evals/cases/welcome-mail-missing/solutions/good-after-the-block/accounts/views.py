from django.http import Http404, JsonResponse
from django.views.decorators.http import require_POST

from accounts.services import UnknownFriend, register


@require_POST
def sign_up(request):
    try:
        user = register(request.POST["email"], request.POST.get("name", ""), request.POST.get("friend"))
    except UnknownFriend:
        raise Http404("We do not know this friend.") from None
    return JsonResponse({"id": user.pk}, status=201)
