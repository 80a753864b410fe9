"""What a running step tells: on the terminal, in events.jsonl, and what it waits for."""
