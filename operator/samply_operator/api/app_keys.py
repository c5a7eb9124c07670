"""What the routes work with, under typed keys of the application."""

from __future__ import annotations

from aiohttp import web

from samply_operator.api.auth.authentication import Gate
from samply_operator.api.auth.sign_in import Provider
from samply_operator.api.content.open_files import OpenFiles
from samply_operator.api.server.rate_limits import Rates
from samply_operator.api.state import Board
from samply_operator.control.client import OperatorClient
from samply_operator.settings import Identity, Settings

SETTINGS = web.AppKey("settings", Settings)
IDENTITY = web.AppKey("identity", Identity)
FILES = web.AppKey("files", OpenFiles)
BOARD = web.AppKey("board", Board)
BASE_PATH = web.AppKey("base_path", str)
RATES = web.AppKey("rates", Rates)
GATE = web.AppKey("gate", Gate)
SIGN_IN = web.AppKey("sign_in", Provider)
OPERATOR = web.AppKey("operator", OperatorClient)
