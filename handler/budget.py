"""What one request may cost at most, each known before it is spent.

``max_pixels``, the archive's choice, bounds the pixels of all its images together, and
:mod:`falconet.native.budget` what decoding one of them costs besides. Bytes are bounded before a
worker is asked: by TorchServe's ``max_request_size`` and the gateway's limits.
"""

# All images of a request are decoded at the same time.
IMAGES = 128
# Of JSON, where each is a value or a name. An image of 512 x 512 pixels has 0.8 million numbers.
JSON_NODES = 1_000_000
# Bytes that a compressed body is unpacked to: as many as TorchServe takes uncompressed.
UNPACKED_BYTES = 20 << 20
# Of a form; far more than any has.
FORM_PARTS = 100
# A side of pixels that come as numbers, and digits of a length: more is no image.
SIDE = 1 << 31
DIGITS = 20
# Headers of a part of a form, and what a request may call itself, which comes back in its answer.
PART_HEADERS = 16_384
ID = 1_000
