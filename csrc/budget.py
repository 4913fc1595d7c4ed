"""What decoding one image may cost at most, each known before it is spent."""

# Height times width, where nothing else is said.
PIXELS = 50_000_000
# Of a JPEG. Each scan costs a pass over all pixels, however few its bytes; a progressive one has
# ten or so. All passes together may go over so many times max_pixels.
JPEG_SCANS = 50
JPEG_PASSES = 16
JPEG_SEGMENTS = 2_000
# Arithmetic coding has no bytes to bound it: such a JPEG may have one in so many of max_pixels.
SHARE_OF_RARE_JPEG = 16
# Of a PNG, and of the RIFF that a WebP is.
PNG_CHUNKS = 20_000
RIFF_CHUNKS = 1_000
# Of a TIFF: numbers that describe its first image, each of which becomes an object; and its tags.
TIFF_NUMBERS = 100_000
TIFF_TAGS = 70_000
TIFF_TILE = 4_096  # pixels of a side
# Of an AVIF or a HEIC: images, texts and whatever else it has, and references to them; boxes that
# describe them; bytes of texts and color profiles, each for every image that it is about.
ITEMS = 2_000
ITEM_BOXES = 10_000
ITEM_BYTES = 4 << 20
AV1_UNITS = 1_000
# Of Exif, of which one is looked for.
EXIF_TAGS = 1_000
# Pieces that Pillow may read a file in: each is a step of Python, which holds up other requests.
READS = 50_000
# The same bytes may be read again: all in all so many times the file.
TIMES_READ = 8
# A file of so few bytes is not metered, which would take longer than to decode it.
SMALL = 1 << 16
# Of a BMP of runs, which Pillow unpacks in Python: pixels, and two reads for a run.
RLE_PIXELS = 4_000_000
RLE_READS = 1_000_000
# What Pillow has read of a larger file is let go until its turn has come: bytes.
KEPT_OPEN = 1 << 20
