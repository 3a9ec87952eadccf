"""Network namespaces with one TUN device each, made by system calls alone.

Nothing here has a name that could be left behind: a site's namespace lives while a descriptor or a
process holds it, and its device while the descriptor is open; so however a run ends, the kernel
clears them away.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import threading
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

DEVICE = "tun0"
TUN_PATH = "/dev/net/tun"

# linux/sched.h, linux/prctl.h
CLONE_NEWUSER, CLONE_NEWNET, PR_SET_PDEATHSIG = 0x1000_0000, 0x4000_0000, 1
# linux/if_tun.h
TUNSETIFF, TUNSETOFFLOAD, TUNSETVNETHDRSZ = 0x400454CA, 0x400454D0, 0x400454D8
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4 = 0x01, 0x02
VNET_BYTES = 10
# linux/sockios.h, linux/if.h
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C
IFF_UP, IFF_RUNNING = 0x1, 0x40
QUEUE_PACKETS = 10_000  # the device's own queue, deep enough that only the emulated ones drop
# linux/rtnetlink.h
RTM_NEWLINK, RTM_NEWROUTE, NLMSG_ERROR, IFLA_TXQLEN = 16, 24, 2, 13
NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_CREATE = 0x1, 0x4, 0x100, 0x400
RT_TABLE_MAIN, RTPROT_KERNEL, RT_SCOPE_LINK, RTN_UNICAST = 254, 2, 253, 1
RTA_DST, RTA_OIF, RTA_PREFSRC, RTA_METRICS, RTAX_CC_ALGO = 1, 4, 7, 8, 16

libc = ctypes.CDLL(None, use_errno=True)


class NetworkError(RuntimeError):
    """The network cannot be made here: says what is missing and what to do."""


@dataclass(frozen=True, kw_only=True)
class SiteNetwork:
    """One site's namespace and its device, as descriptors that the holder closes."""

    namespace: int
    device: int

    @property
    def inode(self) -> int:
        """The namespace's identity, as in /proc/PID/ns/net."""
        return os.fstat(self.namespace).st_ino

    def close(self) -> None:
        os.close(self.device)
        os.close(self.namespace)


def check_call(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def die_with_parent(signum: int) -> None:
    """Between fork and exec: have the kernel send `signum` when the parent ends, in any way."""
    check_call(libc.prctl(PR_SET_PDEATHSIG, signum, 0, 0, 0), "prctl")


def enter(namespace: int) -> None:
    """Move the calling thread into a network namespace."""
    check_call(libc.setns(namespace, CLONE_NEWNET), "setns")


def enter_user_namespace() -> None:
    """Become root of a new user namespace.

    Only for a process with one thread, as between fork and exec.
    """
    user, group = os.getuid(), os.getgid()
    check_call(libc.unshare(CLONE_NEWUSER), "unshare of the user namespace")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"0 {user} 1"),
        ("gid_map", f"0 {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def make_site(
    address: IPv4Interface,
    *,
    congestion_control: str | None = None,
    tcp_buffer_kib: int | None = None,
) -> SiteNetwork:
    """A new namespace with a device of this address. Raises NetworkError.

    tcp_buffer_kib: how large the kernel lets the buffers of a TCP connection grow by themselves.
    """
    made: list[SiteNetwork] = []
    failed: list[Exception] = []

    def work() -> None:
        try:
            made.append(make_site_here(address, congestion_control, tcp_buffer_kib))
        except Exception as error:
            failed.append(error)

    # Namespaces belong to threads: this one takes its own along as it ends; ours never changes.
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def make_site_here(
    address: IPv4Interface, congestion_control: str | None, tcp_buffer_kib: int | None
) -> SiteNetwork:
    try:
        check_call(libc.unshare(CLONE_NEWNET), "unshare")
    except OSError as error:
        raise NetworkError(f"a network namespace cannot be made ({error.strerror})") from None
    namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        device = open_device()
    except BaseException:
        os.close(namespace)
        raise
    site = SiteNetwork(namespace=namespace, device=device)
    try:
        configure(address)
        if congestion_control is not None:
            choose_congestion_control(address, congestion_control)
        if tcp_buffer_kib is not None:
            limit_buffers(tcp_buffer_kib << 10)
    except BaseException as error:
        site.close()
        if isinstance(error, OSError):
            raise NetworkError(f"{DEVICE} cannot be set up ({error.strerror})") from None
        raise
    return site


def open_device() -> int:
    """A TUN device in this thread's namespace, which leaves checksums and segmentation to us."""
    try:
        device = os.open(TUN_PATH, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        remedy = {
            errno.ENOENT: "is missing: load the module (modprobe tun) or give it to the container "
            f"(--device {TUN_PATH})",
            errno.EACCES: "may not be opened for reading and writing by this user",
        }.get(error.errno or 0, f"cannot be opened ({error.strerror})")
        raise NetworkError(f"{TUN_PATH} {remedy}") from None
    try:
        flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), flags))
        fcntl.ioctl(device, TUNSETVNETHDRSZ, struct.pack("i", VNET_BYTES))
        fcntl.ioctl(device, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4)
    except OSError as error:
        os.close(device)
        raise NetworkError(f"{TUN_PATH} makes no device here ({error.strerror})") from None
    return device


def configure(address: IPv4Interface) -> None:
    def request(name: str, form: str, *values: int | bytes) -> bytes:
        return struct.pack("16s" + form, name.encode(), *values).ljust(40, b"\0")

    mask = address.network.netmask.packed
    # By netlink, since the kernel grants the ioctl for this to nobody but the machine's root.
    body = struct.pack("BxHiII", socket.AF_UNSPEC, 0, socket.if_nametoindex(DEVICE), 0, 0)
    ask_kernel(RTM_NEWLINK, 0, body + attribute(IFLA_TXQLEN, struct.pack("I", QUEUE_PACKETS)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        family = socket.AF_INET
        for code, body in (
            (SIOCSIFFLAGS, request("lo", "H", IFF_UP | IFF_RUNNING)),
            (SIOCSIFADDR, request(DEVICE, "HH4s", family, 0, address.ip.packed)),
            (SIOCSIFNETMASK, request(DEVICE, "HH4s", family, 0, mask)),
            (SIOCSIFFLAGS, request(DEVICE, "H", IFF_UP | IFF_RUNNING)),
        ):
            fcntl.ioctl(control, code, body)


def ask_kernel(kind: int, flags: int, body: bytes) -> None:
    """One netlink request. OSError: what the kernel answered."""
    flags |= NLM_F_REQUEST | NLM_F_ACK
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as link:
        link.send(struct.pack("IHHII", 16 + len(body), kind, flags, 1, 0) + body)
        answer = link.recv(4096)
    (answered,), (code,) = struct.unpack_from("H", answer, 4), struct.unpack_from("i", answer, 16)
    if answered != NLMSG_ERROR or code != 0:
        raise OSError(-code, os.strerror(-code))


def attribute(kind: int, body: bytes) -> bytes:
    return struct.pack("HH", 4 + len(body), kind) + body.ljust((len(body) + 3) // 4 * 4, b"\0")


def choose_congestion_control(address: IPv4Interface, name: str) -> None:
    """Set it on the sites' route: a namespace's default may not be just any, a route's may."""
    body = struct.pack(
        "BBBBBBBBI",
        socket.AF_INET,
        address.network.prefixlen,
        0,
        0,
        RT_TABLE_MAIN,
        RTPROT_KERNEL,
        RT_SCOPE_LINK,
        RTN_UNICAST,
        0,
    )
    body += attribute(RTA_DST, address.network.network_address.packed)
    body += attribute(RTA_OIF, struct.pack("i", socket.if_nametoindex(DEVICE)))
    body += attribute(RTA_PREFSRC, address.ip.packed)
    body += attribute(RTA_METRICS, attribute(RTAX_CC_ALGO, name.encode() + b"\0"))
    try:
        ask_kernel(RTM_NEWROUTE, NLM_F_REPLACE | NLM_F_CREATE, body)
    except OSError as error:
        with open("/proc/sys/net/ipv4/tcp_available_congestion_control") as file:
            known = file.read().strip()
        text = f"no congestion control {name!r} ({error.strerror}); the kernel has: {known}"
        raise NetworkError(text) from None


def limit_buffers(most_bytes: int) -> None:
    """How large TCP's buffers grow in this thread's namespace; what they begin with as it was, but
    no larger."""
    for name in ("tcp_wmem", "tcp_rmem"):
        with open(f"/proc/sys/net/ipv4/{name}", "r+") as file:
            least, first, _ = map(int, file.read().split())
            file.seek(0)
            file.write(f"{least} {min(first, most_bytes)} {most_bytes}\n")


def interface(network: IPv4Network, site: int) -> IPv4Interface:
    return IPv4Interface((network[site + 1], network.prefixlen))
