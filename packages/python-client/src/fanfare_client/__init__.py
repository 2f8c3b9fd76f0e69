"""An asyncio client of Fanfare: publishes messages, and follows rooms, each message once and in order."""

from ._client import Fanfare, FanfareError
from ._events import Ack, Closed, Deleted, Event, Gap, Message

__all__ = ["Ack", "Closed", "Deleted", "Event", "Fanfare", "FanfareError", "Gap", "Message"]
