"""A mail server that stops answering at a step of the conversation."""

from __future__ import annotations

import socket
import threading
from time import sleep
from typing import Self

_ANSWERS = {
    "EHLO": "250-mail.example\r\n250-AUTH PLAIN\r\n250 STARTTLS",
    "STARTTLS": "220 go ahead",
    "AUTH": "235 welcome",
    "DATA": "354 go on",
    "QUIT": "221 bye",
}
STEPS = ("connect", "greeting", "EHLO", "STARTTLS", "handshake", "AUTH", "MAIL", "RCPT", "DATA", "text")


class HangingServer:
    """It listens on a port of this machine, and says nothing from a step on.

    Args:
        at: one of STEPS; "" for a server that answers everything.
        port: 0 for any.
        drips: whether it goes on with a line every now and then from that step on, and no last one: a tar pit.

    Attributes:
        connections: how many there were.
        texts: the mails it was given and took.
    """

    def __init__(self, at: str = "", port: int = 0, *, drips: bool = False) -> None:
        self.at = at
        self._drips = drips
        self.connections = 0
        self.texts: list[bytes] = []
        self._open: list[socket.socket] = []
        # A queue for one connection, which is taken: another one is not answered at all.
        self._listening = socket.create_server(("127.0.0.1", port), backlog=0 if at == "connect" else 50)
        self.port = int(self._listening.getsockname()[1])

    def __enter__(self) -> Self:
        if self.at == "connect":
            self._open.append(socket.create_connection(("127.0.0.1", self.port)))
        else:
            threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for one in self._open:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as lines:
                self._answer(connection, "greeting", "220 mail.example")
                for line in lines:
                    verb = line.split()[0].decode().upper()
                    self._answer(connection, verb, self._plain(_ANSWERS.get(verb, "250 OK")))
                    if verb == "STARTTLS":
                        self._hang()  # it has no certificate: every test of TLS ends here
                    if verb == "DATA":
                        text = b"".join(iter(lines.readline, b".\r\n"))
                        self._answer(connection, "text", "250 taken")
                        self.texts.append(text)
        except OSError:
            pass

    def _plain(self, answer: str) -> str:
        return answer if self.at in ("STARTTLS", "handshake") else answer.replace("\r\n250 STARTTLS", "\r\n250 HELP")

    def _answer(self, connection: socket.socket, step: str, text: str) -> None:
        while self.at == step and self._drips:
            connection.sendall(f"{text[:3]}-please wait\r\n".encode())
            sleep(0.02)
        if self.at == step:
            self._hang()
        connection.sendall(f"{text}\r\n".encode())

    @staticmethod
    def _hang() -> None:
        threading.Event().wait()
