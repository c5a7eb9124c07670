"""Typed keys of the application for what comes from outside `api`. A class of `api` has its key beside it."""

from __future__ import annotations

from aiohttp import web

from samply_operator.control.client import OperatorClient
from samply_operator.settings import Identity, Settings

SETTINGS = web.AppKey("settings", Settings)
IDENTITY = web.AppKey("identity", Identity)
BASE_PATH = web.AppKey("base_path", str)
OPERATOR = web.AppKey("operator", OperatorClient)
