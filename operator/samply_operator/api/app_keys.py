"""What the routes work with, under typed keys of the application."""

from __future__ import annotations

from aiohttp import web

from samply_operator.api.auth.authentication import Authenticator
from samply_operator.api.auth.sign_in import Provider
from samply_operator.api.content.open_files import OpenFiles
from samply_operator.api.server.rate_limits import Rates
from samply_operator.api.state import ServiceState
from samply_operator.control.client import OperatorClient
from samply_operator.settings import Identity, Settings

SETTINGS = web.AppKey("settings", Settings)
IDENTITY = web.AppKey("identity", Identity)
FILES = web.AppKey("files", OpenFiles)
STATE = web.AppKey("state", ServiceState)
BASE_PATH = web.AppKey("base_path", str)
RATES = web.AppKey("rates", Rates)
AUTHENTICATOR = web.AppKey("authenticator", Authenticator)
SIGN_IN = web.AppKey("sign_in", Provider)
OPERATOR = web.AppKey("operator", OperatorClient)
