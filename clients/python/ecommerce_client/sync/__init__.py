# Made by unasync of aio/__init__.py: do not edit.
"""The client for threads."""
from .client import Client
from .consumer import Consumer
from .subscription import Subscription
from .transaction import Transaction

connect = Client

__all__ = ["Client", "Consumer", "Subscription", "Transaction", "connect"]
