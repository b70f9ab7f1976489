from django.db.models import F
from django.http import Http404, JsonResponse
from django.views.decorators.http import require_POST

from accounts.models import User
from accounts.services import register


@require_POST
def sign_up(request):
    user = register(request.POST["email"], request.POST.get("name", ""))
    if friend := request.POST.get("friend"):
        if not User.objects.filter(email=friend).update(points=F("points") + 5):
            raise Http404("We do not know this friend.")
    return JsonResponse({"id": user.pk}, status=201)
