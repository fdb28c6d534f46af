"""The database, whichever of the three it is."""

import time
import urllib.parse

TABLES = [
    "CREATE TABLE IF NOT EXISTS courses (code INTEGER PRIMARY KEY, title VARCHAR(200) NOT NULL, teacher VARCHAR(100) NOT NULL, about TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS members (code INTEGER NOT NULL, name VARCHAR(40) NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (code, name))",
    "CREATE TABLE IF NOT EXISTS visits (id VARCHAR(64) PRIMARY KEY, name VARCHAR(40) NOT NULL, token VARCHAR(64) NOT NULL, at INTEGER NOT NULL)",
]
COURSES = [
    (4021, "Networks", "Ada Lovelace", "From the wire to the web: who holds the bytes, who knows it, who pays."),
    (4022, "Databases", "Edgar Codd", "Relations, transactions, and what happens when the power goes."),
    (4030, "Distributed systems", "Leslie Lamport", "A computer that you did not know existed can make yours unusable."),
]
# The other two compare names by their characters; this one would take Ada and ADA for the same.
MYSQL_TABLE = " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"


class Database:
    """One connection. Values are always bound, never part of the text."""

    def __init__(self, connection, mark, taken, table=""):
        self.connection, self.mark, self.taken, self.table = connection, mark, taken, table

    def ask(self, text, *values):
        cursor = self.connection.cursor()
        cursor.execute(text.replace("?", self.mark), values)
        return cursor.fetchall() if cursor.description else []

    def join(self, code, name):
        """Adds a member. False if there is one of this name: the database decides, since two may ask at the same time."""
        # What came before stays, whatever becomes of this.
        self.connection.commit()
        try:
            self.ask("INSERT INTO members (code, name, since) VALUES (?, ?, ?)", code, name, int(time.time()))
            self.connection.commit()
            return True
        except self.taken:
            self.connection.rollback()
            return False

    def make(self):
        """Makes the tables where they are missing, and puts courses into them."""
        for table in TABLES:
            self.ask(table + self.table)
        if not self.ask("SELECT code FROM courses"):
            for course in COURSES:
                self.ask("INSERT INTO courses (code, title, teacher, about) VALUES (?, ?, ?, ?)", *course)

    def close(self):
        self.connection.commit()
        self.connection.close()


def connect(url):
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite":
        import sqlite3

        connection = sqlite3.connect(rest, timeout=10, isolation_level="IMMEDIATE")
        # Readers need not wait for a writer; the file remembers it.
        connection.execute("PRAGMA journal_mode = WAL")
        return Database(connection, "?", sqlite3.IntegrityError)
    if scheme in ("postgres", "postgresql"):
        import psycopg2

        return Database(psycopg2.connect(url), "%s", psycopg2.IntegrityError)
    if scheme == "mysql":
        import pymysql

        parts = urllib.parse.urlsplit(url)
        connection = pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            unix_socket=urllib.parse.parse_qs(parts.query).get("unix_socket", [None])[0],
            user=urllib.parse.unquote(parts.username or ""),
            password=urllib.parse.unquote(parts.password or ""),
            database=parts.path.strip("/"),
            charset="utf8mb4",
        )
        return Database(connection, "%s", pymysql.IntegrityError, MYSQL_TABLE)
    raise ValueError(f"{scheme}: is neither sqlite, postgres nor mysql")
