"""What the demo's shop sells, and the names and streets of those who buy it: all of it made up.

Invariant: no address here can belong to anybody: mail goes to `.example` domains, phone numbers are from ranges kept for fiction.
"""

from __future__ import annotations

from typing import Final

import msgspec


class Good(msgspec.Struct, frozen=True):
    """A product. `lasts_days` is how long a pack lasts, 0 for what is not used up."""

    sku: str
    de: str
    en: str
    price: float
    lasts_days: int = 0

    def name(self, *, german: bool) -> str:
        """The name in the customer's language."""
        return self.de if german else self.en


GOODS: Final = (
    Good("lamp-arc", "Bogenlampe „Lotte“", "Arc lamp Lotte", 189.0),
    Good("throw-wool", "Wolldecke, Salz & Pfeffer", "Wool throw, salt and pepper", 89.0),
    Good("mug-stone", "Steinzeugbecher, 2er-Satz", "Stoneware mugs, set of two", 34.0),
    Good("board-oak", "Schneidebrett aus Eiche", "Oak chopping board", 49.5),
    Good("chair-ash", "Stuhl „Emil“, Esche", "Chair Emil, ash", 245.0),
    Good("vase-tall", "Vase, mundgeblasen", "Mouth-blown vase", 64.0),
    Good("linen-set", "Bettwäsche aus Leinen", "Linen bed set", 129.0),
    Good("knife-chef", "Kochmesser, 20 cm", "Chef's knife, 20 cm", 98.0),
    Good("coffee-kilo", "Espresso „Hinterhof“, 1 kg", "Espresso Hinterhof, 1 kg", 24.9, 30),
    Good("soap-olive", "Olivenseife, 6 Stück", "Olive soap, pack of six", 27.0, 40),
    Good("candle-wax", "Kerzen aus Bienenwachs", "Beeswax candles", 31.5, 25),
)
NAMES_DE: Final = (
    ("Ana", "Kovač"), ("Björn", "Hülsmann"), ("Carla", "Weiß"), ("David", "Öztürk"), ("Emma", "Lindner"), ("Finn", "Jäger"),
    ("Greta", "Schäfer"), ("Hannes", "Müller"), ("Ida", "Brandt"), ("Jürgen", "Voß"), ("Käthe", "Nguyen"), ("Leon", "Groß"),
)  # fmt: skip
NAMES_EN: Final = (
    ("Alice", "O'Neill"), ("Ben", "Carter"), ("Chloe", "Evans"), ("Dan", "Okafor"), ("Ella", "Smythe"), ("Fred", "Marsh"),
    ("Grace", "Patel"), ("Harry", "Wells"), ("Isla", "Byrne"), ("Jack", "St. John"), ("Kate", "Doyle"), ("Liam", "Reyes"),
)  # fmt: skip
CITIES: Final = (
    ("Lindenallee 4", "10115", "Berlin"), ("Am Deich 12", "20457", "Hamburg"), ("Gartenweg 7b", "50667", "Köln"),
    ("Hauptplatz 1", "8010", "Graz"), ("Seestraße 20", "8002", "Zürich"), ("14 Mill Lane", "BS1 4ST", "Bristol"),
)  # fmt: skip
COMPLAINTS_DE: Final = ("Das Glas kam zerbrochen an.", "Die Farbe passt nicht zum Bild.", "Eine Schraube fehlt.")
COMPLAINTS_EN: Final = ("The glass arrived broken.", "The colour is not the one in the picture.", "A screw is missing.")
_GERMAN_NUMBERS: Final = 100
_AREAS: Final = (212, 310, 415, 617, 702, 206, 312, 404, 512, 720, 213, 214, 215, 216, 217, 303, 305, 313, 314, 315)


def phone(number: int) -> str:
    """A number that no network gives out: those that the German regulator keeps for films, then the American 555-01."""
    assert number >= 0
    if number < _GERMAN_NUMBERS:
        return f"+4917139200{number:02d}"
    return f"+1{_AREAS[number // 100 % len(_AREAS)]}55501{number % 100:02d}"
