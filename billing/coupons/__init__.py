"""Coupons that orders earn."""
