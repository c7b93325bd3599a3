"""The database: truth of everything. Redis is only a doorbell."""

from labelwheel.database.engine import Database, get_database
from labelwheel.database.migrate import migrate

__all__ = ["Database", "get_database", "migrate"]
