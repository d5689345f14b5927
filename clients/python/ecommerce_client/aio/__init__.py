"""The client for asyncio."""
from .client import Client
from .consumer import Consumer
from .subscription import Subscription
from .transaction import Transaction

connect = Client

__all__ = ["Client", "Consumer", "Subscription", "Transaction", "connect"]
