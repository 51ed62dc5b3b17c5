"""The names of events, properties and traits that need no other mention: Segment's e-commerce specification, and ours.

Invariant: data alone. `SPEC` is Segment's e-commerce specification (v2) word for word; what is not in it is `OURS`, and the
guide for shops has a line for each.
"""

from __future__ import annotations

_PRODUCT = "product_id sku category name brand variant price quantity coupon position url image_url"
_ORDER = "checkout_id order_id affiliation subtotal total revenue shipping tax discount coupon currency products"
_COUPON = "order_id cart_id coupon_id coupon_name discount reason"
_PROMOTION = "promotion_id creative name position"
_WISHLIST = f"wishlist_id wishlist_name {_PRODUCT}"
SPEC: dict[str, frozenset[str]] = {
    name: frozenset(properties.split())
    for name, properties in {
        "Products Searched": "query",
        "Product List Viewed": "list_id category products",
        "Product List Filtered": "list_id category filters sorts products",
        "Promotion Viewed": _PROMOTION,
        "Promotion Clicked": _PROMOTION,
        "Product Clicked": f"{_PRODUCT} value currency",
        "Product Viewed": f"{_PRODUCT} value currency",
        "Product Added": f"cart_id {_PRODUCT}",
        "Product Removed": f"cart_id {_PRODUCT}",
        "Cart Viewed": "cart_id products",
        "Checkout Started": "order_id affiliation value revenue shipping tax discount coupon currency products",
        "Checkout Step Viewed": "checkout_id step shipping_method payment_method",
        "Checkout Step Completed": "checkout_id step shipping_method payment_method",
        "Payment Info Entered": "checkout_id order_id step shipping_method payment_method",
        "Order Completed": _ORDER,
        "Order Updated": _ORDER,
        "Order Refunded": _ORDER,
        "Order Cancelled": _ORDER,
        "Coupon Entered": _COUPON,
        "Coupon Applied": _COUPON,
        "Coupon Denied": _COUPON,
        "Coupon Removed": _COUPON,
        "Product Added to Wishlist": _WISHLIST,
        "Product Removed from Wishlist": _WISHLIST,
        "Wishlist Product Added to Cart": f"cart_id {_WISHLIST}",
        "Product Shared": f"share_via share_message recipient url {_PRODUCT}",
        "Cart Shared": "share_via share_message recipient cart_id products",
        "Product Reviewed": "product_id review_id review_body rating",
    }.items()
}
"""Event → its properties."""

OURS: dict[str, frozenset[str]] = {
    name: frozenset(properties.split())
    for name, properties in {
        "Product Added": "cart_total cart_url products currency",
        "Order Completed": "cart_id refill_at refill_url order_url shipping_address objection_notice",
        "Product Reviewed": "order_id",
        "Order Shipped": "order_id carrier tracking_number tracking_url expected_at products currency",
        "Order Delivered": "order_id place order_url",
        "Shipment Sent": "shipment_id order_id carrier tracking_number tracking_url expected_at products currency",
        "Shipment Delivered": "shipment_id order_id place order_url",
        "Order Picked Up": "order_id",
        "Complaint Opened": "complaint_id order_id review_id text rating",
        "Complaint Resolved": "complaint_id resolution refund goodwill currency",
        "Complaint Withdrawn": "complaint_id",
        "VIP Joined": "orders",
    }.items()
}
"""Events that the specification does not have, and properties beside those that it has."""

BY_ANLASS: dict[str, frozenset[str]] = {
    name: frozenset(properties.split())
    for name, properties in {
        "Page Viewed": "name category url path title referrer search",
        "Screen Viewed": "name category",
        "Group Joined": "group_id",
        "Consent Requested": "purpose channels channel source",
        "Consent Confirmed": "purpose channel source",
        "Consent Withdrawn": "purpose channel source",
        "Details Changed": "fields",
        "Order State Requested": "order_id state place ordered_at carrier expected_at tracking_url",
        "Order Confirmation Requested": "order_id ordered_at",
        "Email Change Requested": "email",
        "Email Change Confirmed": "change message",
        "Email Change Agreed": "change message",
        "Email Change Stopped": "change message",
        "Email Changed": "email",
        "Access Link Requested": "",
        "Access Link Opened": "message visit",
        "Message Received": "channel text message",
    }.items()
}
"""Raised by Anlass itself."""

EVENTS = frozenset({*SPEC, *OURS, *BY_ANLASS, "Signed Up"})
PROPERTIES = frozenset().union(*SPEC.values(), *OURS.values(), *BY_ANLASS.values(), ("issue", "value"))
_NUMBERS = """
price quantity position subtotal total revenue shipping tax discount value step rating cart_total refund
"""
NUMBERS = frozenset(_NUMBERS.split())
"""Properties that are numbers."""
_TRAITS = """
id email phone first_name last_name name locale timezone country created_at consent consent_request consent_withdraw
consent_proof address birthday segments gender age avatar company description title username website newsletter
"""
TRAITS = frozenset(_TRAITS.split())
"""Traits that Segment reserves or Anlass itself reads."""
