"""Bring on what is due, and find what dead processes and lost messages left behind.

Every dispatcher runs all of them; who gets to a row first has it (`FOR UPDATE SKIP LOCKED`).
"""
