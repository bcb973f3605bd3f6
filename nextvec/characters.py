"""Which characters are no text."""

import re

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Of the control characters (Unicode category Cc) only tab, line feed and carriage return are text.

Tokenizers drop the others or not, each in its own way.
"""
