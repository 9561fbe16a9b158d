"""From the request to the row and back, over RabbitMQ and a worker."""

from __future__ import annotations

from tests.flow.client import Client

ADA = {"name": "Ada", "email": "ada@example.com", "password": "correct horse battery"}


def test_an_accepted_command_is_carried_out_and_its_outcome_can_be_asked_for(api: Client) -> None:
    """`202` with the operation; later it has succeeded and names the resource."""
    accepted = api.post("/api/v1/users", ADA)
    assert accepted.body["command"] == "users.create_user"
    operation = api.outcome(accepted)
    assert operation["status"] == "succeeded"
    assert operation["resource"] == accepted.body["resource"]
    assert operation["error"] is None


def test_who_waits_gets_the_answer_of_a_synchronous_api(api: Client) -> None:
    """`Prefer: wait=N`: `201`, `Location` and the representation, or the problem itself."""
    created = api.post("/api/v1/users", ADA, Prefer="wait=10")
    assert created.status == 201, created.content
    assert created.headers["Preference-Applied"] == "wait=10"
    assert created.headers["Location"].endswith(created.body["id"])
    again = api.post("/api/v1/users", ADA, Prefer="wait=10")
    assert (again.status, again.body["code"]) == (409, "email_taken")
