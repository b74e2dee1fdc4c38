"""`make images`: build the images, and say how large they are."""

import argparse
import sys

from edgecanary import __version__
from edgelab.errors import LabError
from edgelab.images.build import AGENT, OPERATOR, build
from edgelab.images.page import write_page


def main() -> int:
    """Build, print, and on request write docs/guides/images.md's table. 1 when a build fails."""
    parser = argparse.ArgumentParser(prog="make images", description=__doc__)
    parser.add_argument(
        "--tag", default=__version__, help="of the images' names; the version, as in the chart, when left out"
    )
    parser.add_argument("--platform", default="", help="amd64 or arm64; this machine's when left out")
    parser.add_argument("--target", action="append", choices=(OPERATOR, AGENT), help="only this one")
    parser.add_argument("--fresh", action="store_true", help="leave layers of earlier builds aside")
    parser.add_argument("--write", action="store_true", help="write the sizes into docs/guides/images.md")
    options = parser.parse_args()
    try:
        built = build(
            options.target or (OPERATOR, AGENT),
            tag=options.tag,
            processor=options.platform.removeprefix("linux/"),
            fresh=options.fresh,
        )
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    for image in built:
        size = image.uncompressed_bytes / 1e6
        print(
            f"{image.name}  sha256:{image.image_id[:12]}  {size:.0f} MB  {image.archive}  {image.bill.name}"
        )
    if options.write:
        write_page(built)
    return 0


sys.exit(main())
