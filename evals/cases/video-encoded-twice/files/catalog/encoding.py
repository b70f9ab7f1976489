import os
import subprocess

ENCODER = os.environ.get("ENCODER", "/usr/local/bin/encode-video")


def encode(product_pk):
    """Takes up to four hours."""
    subprocess.run([ENCODER, str(product_pk)], check=True)
