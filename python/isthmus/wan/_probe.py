"""Tries to make a site, as we are and in a user namespace.

Prints as JSON why each cannot be (null: it can).
"""

from __future__ import annotations

import json
import os
from ipaddress import IPv4Network

from isthmus.wan.network import NetworkError, enter_user_namespace, interface, make_site
from isthmus.wan.settings import DEFAULT_NETWORK


def attempt(*, in_user_namespace: bool) -> str | None:
    """Why no site can be made. In a child, since no process leaves a user namespace again."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, (failure(in_user_namespace) or "").encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text or None


def failure(in_user_namespace: bool) -> str | None:
    if in_user_namespace:
        try:
            enter_user_namespace()
        except OSError as error:
            why = error.strerror
            return f"(which this user, container or kernel may not make: {why})"
    try:
        make_site(interface(IPv4Network(DEFAULT_NETWORK), 0)).close()
    except NetworkError as error:
        return str(error)
    return None


if __name__ == "__main__":
    names = {"direct": False, "user": True}
    print(json.dumps({name: attempt(in_user_namespace=user) for name, user in names.items()}))
