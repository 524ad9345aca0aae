"""Only for installers that do not read setup.cfg by themselves; everything stands there."""

from setuptools import setup

setup()
