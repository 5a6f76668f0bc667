"""Tests of jobtool.receiving."""
