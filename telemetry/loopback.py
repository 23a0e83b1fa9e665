"""Hosts: whether it can be one, whether it is this machine, and what a broker elsewhere needs."""

import ipaddress

HOST_MAX = 253
"""Characters of a DNS name."""


def is_host(text: str) -> bool:
    """Say whether `text` can be looked up at all, as an address or as a name.

    >>> is_host("broker.example"), is_host("broker..example")
    (True, False)
    """
    try:
        text.encode("idna")
    except UnicodeError:
        return False
    return 0 < len(text) <= HOST_MAX and text.isprintable() and not any(c.isspace() for c in text)


def is_loopback(host: str) -> bool:
    """Say whether a host name or address is this machine's loopback.

    >>> is_loopback("127.0.0.7"), is_loopback("192.0.2.7")
    (True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def broker_problems(
    host: str, *, username: object, password: object, ca: object, cert: object, key: object
) -> list[str]:
    """Return what a `[broker]` table lacks, one sentence each; None is an absent key."""
    if not is_host(host):
        return [f"broker.host: expected a host name or an address, was {host[:HOST_MAX]!r}"]
    found = []
    if not is_loopback(host):
        if ca is None:
            found.append(f"broker.ca_file: required as broker.host {host!r} is not loopback")
        if cert is None and (username is None or password is None):
            found.append(
                "broker: expected username and password_file, or cert_file and key_file, as"
                f" broker.host {host!r} is not loopback"
            )
    if (cert is None) != (key is None):
        found.append("broker: expected cert_file and key_file together, found one of them")
    if cert is not None and ca is None:
        found.append("broker.ca_file: required with cert_file")
    if password is not None and username is None:
        found.append("broker.username: required with password_file")
    return found
