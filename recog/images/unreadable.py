"""The reason why an image cannot be used."""


class Unreadable(ValueError):
    """An image that cannot be used: its name and the reason, in one line."""

    def __init__(self, name: str, reason: str):
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f'{self.name}: {self.reason}'
