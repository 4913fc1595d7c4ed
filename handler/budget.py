"""What one request may cost at most, each known before it is spent.

``max_pixels``, the archive's choice, bounds the pixels of all its pictures together. Bytes are
bounded before a worker is asked: by TorchServe's ``max_request_size`` and the gateway's limits.
"""

# All pictures of a request are decoded at the same time.
PICTURES = 128
# Where an archive does not say.
PIXELS = 50_000_000
# Of JSON, where each is a value or a name. A picture of 512 x 512 pixels has 0.8 million numbers.
JSON_NODES = 1_000_000
# Bytes that a compressed body is unpacked to: as many as TorchServe takes uncompressed.
UNPACKED_BYTES = 20 << 20
# Of a form; far more than any has.
FORM_PARTS = 100
# A side of pixels that come as numbers, and digits of a length: more is no picture.
SIDE = 1 << 31
DIGITS = 20
# Of a JPEG. Each scan costs a pass over all pixels, however few its bytes; a progressive one has
# ten or so. All passes together may go over so many times max_pixels.
JPEG_SCANS = 50
JPEG_PASSES = 16
JPEG_SEGMENTS = 2_000
# What is less common is dearer: arithmetic coding has no bytes to bound it, libwebp holds a picture
# several times over. Such pictures may have one in so many of max_pixels.
SHARE_OF_RARE_JPEG = 16
SHARE_OF_WEBP = 2
# Of a PNG.
PNG_CHUNKS = 20_000
# Pieces that Pillow may read a file in: each is a step of Python, which holds up other requests.
READS = 50_000
# Of a BMP of runs, which Pillow unpacks in Python: pixels, and two reads for a run.
RLE_PIXELS = 4_000_000
RLE_READS = 1_000_000
# Headers of a part of a form, and what a request may call itself, which comes back in its answer.
PART_HEADERS = 16_384
ID = 1_000
# What Pillow has read of a larger file is let go until its turn has come: bytes.
KEPT_OPEN = 1 << 20
