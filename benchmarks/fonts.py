"""How often `mnistcompose predict` reads numbers that are set in fonts, which are another source of digits than MNIST.

    mnistcompose train MNIST-II-01 --model baseline --epochs 3
    python benchmarks/fonts.py runs/MNIST-II-01/baseline-0 path/to/fonts/*.ttf --picture fonts.png --out fonts.json

All numbers 00 to 99 are drawn in each font, in several sizes, half of them black on white and half white on black. The
picture shows twenty of them with the answers. The numbers of the first font are also drawn as in bad photographs.
"""

import json
import subprocess
import sys
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZES = (12, 20, 36, 64, 120, 200)  # pixels
SHOWN = 20
PHOTOGRAPHS = {  # grey levels of ink and paper, change of light from side to side, and spread of the noise
    "even light": (40, 220, 0, 0),
    "faint ink": (150, 220, 0, 0),
    "grey paper": (0, 120, 0, 0),
    "uneven light": (40, 220, 100, 0),
    "noise": (40, 220, 0, 10),
    "strong noise": (40, 220, 0, 20),
    "light beyond the contrast": (40, 220, 300, 0),
}
TILE, TEXT = 150, 34  # pixels of the picture: side of a tile, and height of the answer below it


def draw(number: str, font: Path, size: int, dark: bool) -> Image.Image:
    """A number in a font, with a margin: black on white, or white on black."""
    face = ImageFont.truetype(str(font), size)
    left, top, right, bottom = face.getbbox(number)
    margin = size // 3
    image = Image.new("L", (round(right - left) + 2 * margin, round(bottom - top) + 2 * margin), 255 if dark else 0)
    ImageDraw.Draw(image).text((margin - left, margin - top), number, fill=0 if dark else 255, font=face)
    return image


def photograph(number: str, font: Path, ink: int, paper: int, light: int, noise: int) -> Image.Image:
    """A number as in a photograph of it on paper."""
    levels = ink + (paper - ink) / 255 * np.asarray(draw(number, font, 80, dark=True), np.float64)
    levels += np.linspace(-light / 2, light / 2, levels.shape[1])
    levels += np.random.default_rng(int(number)).normal(0, noise, levels.shape)
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def read(run: Path, images: list[Image.Image]) -> list[dict[str, Any]]:
    """What the command says about pictures."""
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{place:05d}.png" for place in range(len(images))]
        for image, path in zip(images, paths, strict=True):
            image.save(path)
        command = [sys.executable, "-m", "mnistcompose.cli", "predict", str(run), *map(str, paths), "--json"]
        done = subprocess.run([*command, "--device", "cpu"], capture_output=True, text=True, check=True)
    return [json.loads(line)["guesses"][0] for line in done.stdout.splitlines()]


def sheet(cases: list[dict[str, Any]], images: list[Image.Image]) -> Image.Image:
    """Pictures, each with the answer below it: green if it is right, else red, with the true number."""
    columns = 5
    rows = -(-len(cases) // columns)
    page = Image.new("RGB", (columns * (TILE + 10) + 10, rows * (TILE + TEXT + 10) + 10), "white")
    pen, face = ImageDraw.Draw(page), ImageFont.load_default(15)
    for place, (case, image) in enumerate(zip(cases, images, strict=True)):
        x, y = 10 + place % columns * (TILE + 10), 10 + place // columns * (TILE + TEXT + 10)
        frame = Image.new("L", (TILE, TILE), image.getpixel((0, 0)))
        small = image.copy()
        small.thumbnail((TILE, TILE))
        frame.paste(small, ((TILE - small.width) // 2, (TILE - small.height) // 2))
        page.paste(frame, (x, y))
        pen.rectangle((x, y, x + TILE, y + TILE), outline="#999999")
        right = case["read"] == case["number"]
        answer = f"{case['read']}, {100 * case['probability']:.0f} %" + ("" if right else f"; it is {case['number']}")
        pen.text((x + 2, y + TILE + 6), answer, fill="#007a33" if right else "#c00000", font=face)
    return page


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("fonts", type=click.Path(path_type=Path, exists=True), nargs=-1, required=True)
@click.option("--picture", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path))
def main(run: Path, fonts: tuple[Path, ...], picture: Path | None, out: Path | None) -> None:
    """Draw the numbers, have them read, and print how often the answer is right."""
    sizes = cycle(SIZES)
    cases: list[dict[str, Any]] = [
        {"number": f"{number:02d}", "font": font.stem, "size": next(sizes), "dark": (number + place) % 2 == 0}
        for place, font in enumerate(fonts)
        for number in range(100)
    ]
    of_font = {font.stem: font for font in fonts}
    images = [draw(case["number"], of_font[case["font"]], case["size"], case["dark"]) for case in cases]
    for case, answer in zip(cases, read(run, images), strict=True):
        case |= {"read": answer["number"], "probability": round(answer["probability"], 4)}
    for field in ("font", "size", "dark"):
        for value in dict.fromkeys(case[field] for case in cases):
            right = [case["read"] == case["number"] for case in cases if case[field] == value]
            click.echo(f"{field} {value}: {sum(right)} of {len(right)} right")
    right = [case["read"] == case["number"] for case in cases]
    click.echo(f"all: {sum(right)} of {len(right)} right")
    for name, how in PHOTOGRAPHS.items():
        guesses = read(run, [photograph(f"{number:02d}", fonts[0], *how) for number in range(100)])
        click.echo(f"{name}: {sum(int(g['number']) == n for n, g in enumerate(guesses))} of 100 right")
    step = len(cases) // SHOWN
    chosen = [step * place + 37 * place % step for place in range(SHOWN)]  # some of each font, without a choice by eye
    shown = [cases[place] for place in chosen]
    click.echo(f"shown: {sum(case['read'] == case['number'] for case in shown)} of {SHOWN} right")
    if picture:
        sheet(shown, [images[place] for place in chosen]).save(picture, optimize=True)
    if out:
        out.write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
