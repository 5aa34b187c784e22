"""What a file is, by its first bytes.

Owns `Kind` and `sniff`. Standard library only.
"""

from __future__ import annotations

from enum import Enum

HEAD_BYTES = 4096  # enough for every test below


class Kind(Enum):
    """Kinds of content."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WebP"
    GIF = "GIF"
    TIFF = "TIFF"
    BMP = "BMP"
    AVIF = "AVIF"
    HEIC = "HEIC"
    JPEG2000 = "JPEG 2000"
    JPEG_XL = "JPEG XL"
    EXR = "OpenEXR"
    HDR = "Radiance HDR"
    NETPBM = "netpbm"
    ICO = "icon"
    SVG = "SVG"
    PDF = "PDF"
    WEB_PAGE = "web page"
    OTHER = "other"

    @property
    def is_image(self) -> bool:
        """Whether it is an image that can be read."""
        return self not in (Kind.WEB_PAGE, Kind.OTHER, Kind.SVG, Kind.PDF, Kind.JPEG_XL)


_SIGNATURES = (
    (b"\xff\xd8\xff", Kind.JPEG),
    (b"\x89PNG\r\n\x1a\n", Kind.PNG),
    (b"GIF87a", Kind.GIF),
    (b"GIF89a", Kind.GIF),
    (b"II*\0", Kind.TIFF),
    (b"MM\0*", Kind.TIFF),
    (b"II+\0", Kind.TIFF),
    (b"MM\0+", Kind.TIFF),
    (b"BM", Kind.BMP),
    (b"\0\0\0\x0cjP  \r\n\x87\n", Kind.JPEG2000),
    (b"\xff\x4f\xff\x51", Kind.JPEG2000),
    (b"\xff\x0a", Kind.JPEG_XL),
    (b"\0\0\0\x0cJXL \r\n\x87\n", Kind.JPEG_XL),
    (b"\x76\x2f\x31\x01", Kind.EXR),
    (b"#?RADIANCE", Kind.HDR),
    (b"#?RGBE", Kind.HDR),
    (b"\0\0\1\0", Kind.ICO),
    (b"%PDF", Kind.PDF),
)
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")


def sniff(head: bytes) -> Kind:
    r"""Tell a file's kind from its first bytes; `Kind.OTHER` may be a video.

    Examples
    --------
    >>> sniff(b"GIF89a...").value, sniff(b"\x00\x00\x00\x18ftypmp42").value
    ('GIF', 'other')
    """
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Kind.WEBP
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    if len(head) > 2 and head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return Kind.NETPBM
    return _of_text(head)


def _of_text(head: bytes) -> Kind:
    """Web pages and drawings, which are text."""
    text = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return Kind.WEB_PAGE
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in head[:1024]):
        return Kind.SVG
    return Kind.OTHER


def _of_brands(head: bytes) -> Kind:
    """HEIC, AVIF, or a video, by the brands of an ISO base media file."""
    size = int.from_bytes(head[:4], "big")
    brands = [head[8:12], *(head[place : place + 4] for place in range(16, min(size, len(head)), 4))]
    if any(brand in _AVIF_BRANDS for brand in brands):
        return Kind.AVIF
    if brands[0] in _HEIC_BRANDS or (brands[0] in (b"MiHE", b"MiHB") and b"mif1" in brands):
        return Kind.HEIC
    return Kind.OTHER
