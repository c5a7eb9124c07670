"""What the routes work with, under typed keys of the application."""

from __future__ import annotations

from aiohttp import web

from samply_operator.api.board import Board
from samply_operator.control.client import OperatorClient
from samply_operator.settings import Identity, Settings
from samply_operator.store.volume import Volume

SETTINGS = web.AppKey("settings", Settings)
IDENTITY = web.AppKey("identity", Identity)
VOLUME = web.AppKey("volume", Volume)
BOARD = web.AppKey("board", Board)
OPERATOR = web.AppKey("operator", OperatorClient)
