"""Many callers at once over connections that are kept: nobody gets another's identity."""

import random
import socket
from concurrent.futures import ThreadPoolExecutor

LINES = 8
REQUESTS = 25


def all_doors(doors, world, application, say):
    callers = {"": ("", "/public")}
    for token in (world.ada, world.user("user_alan"), world.user("user_grace"), world.robot):
        told = world.ask("GET", "/", "app.example", [("Authorization", f"Bearer {token}")])
        callers[told.header("x-vestibule-user-id")] = (token, "/")
    ids = sorted(callers)

    def line(door, number):
        wrong = []
        order = random.Random(number)
        with socket.create_connection(("127.0.0.1", door.port), 10) as connection:
            stream = connection.makefile("rb")
            for turn in range(REQUESTS):
                wanted = order.choice(ids)
                token, path = callers[wanted]
                case_id = f"{door.name}/mixing/{number}/{turn}"
                head = f"GET {path} HTTP/1.1\r\nHost: app.example\r\nX-Case: {case_id}\r\n"
                if token:
                    head += f"Authorization: Bearer {token}\r\n"
                connection.sendall(f"{head}\r\n".encode())
                status = stream.readline()
                while stream.readline().strip():
                    pass
                seen = application.reached(case_id)
                got = (seen.values("x-vestibule-user-id") or [""])[0] if seen else None
                if b" 200 " not in status or got != wanted:
                    wrong.append(f"{door.name}: among others, {wanted or 'nobody'} is {got}: {status}")
                    break
        return wrong

    wrong = []
    with ThreadPoolExecutor(len(doors) * LINES) as pool:
        for found in pool.map(lambda at: line(*at), [(door, n) for door in doors for n in range(LINES)]):
            wrong += found
    say(f"{LINES} kept connections to each door, {REQUESTS} requests of five callers on each")
    return wrong
