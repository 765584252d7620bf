"""Three invented collections of data, two tables each: what the corpus's notebooks look into.

Nothing in them is anybody's data; names and figures are drawn from a seed. Each has a main table with a row an event
(`key`, `group`, `amount`, `value`, `flag`) and a second one with a row a key (`key`, `area`, `size`).
"""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass
from pathlib import Path

ROWS = 400


@dataclass(frozen=True)
class Study:
    """A data set on the stand-in for Kaggle, and the names of its columns."""

    slug: str
    owner: str
    owner_is_organisation: bool
    title: str
    licence: str
    version: int
    main: str
    second: str
    thing: str
    key: str
    keys: tuple[str, ...]
    group: str
    groups: tuple[str, ...]
    amount: str
    value: str
    flag: str
    area: str
    areas: tuple[str, ...]
    size: str

    @property
    def names(self) -> dict[str, str]:
        """What the notebooks' templates are filled with."""
        plain = {name: text for name, text in vars(self).items() if isinstance(text, str)}
        return plain | {"key1": self.keys[1], "key2": self.keys[2], "group1": self.groups[0], "area1": self.areas[0]}

    def write(self, folder: Path) -> None:
        """Its two CSV files, in a folder of its own as in Kaggle's input folder."""
        chance = random.Random(self.slug)
        place = folder / self.slug
        place.mkdir(parents=True, exist_ok=True)
        with (place / self.main).open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["id", self.key, self.group, self.amount, self.value, self.flag])
            for number in range(1, ROWS + 1):
                # Uneven, so that "the one with the most rows" is never a tie.
                key = chance.choices(self.keys, weights=range(3, 3 + len(self.keys)))[0]
                flag = "yes" if chance.random() < 0.3 else "no"
                value = f"{chance.gammavariate(4, 3):.2f}"
                table.writerow([number, key, chance.choice(self.groups), chance.randint(1, 90), value, flag])
        with (place / self.second).open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow([self.key, self.area, self.size])
            for number, key in enumerate(self.keys):
                table.writerow([key, self.areas[number % len(self.areas)], chance.randint(5, 60)])


STUDIES = (
    Study(
        slug="harbour-ferries",
        owner="maralind",
        owner_is_organisation=False,
        title="Harbour ferries",
        licence="CC0: Public Domain",
        version=3,
        main="trips.csv",
        second="routes.csv",
        thing="ferry trip",
        key="route",
        keys=("Amber", "Basalt", "Cobalt", "Dune", "Ember"),
        group="season",
        groups=("spring", "summer", "autumn", "winter"),
        amount="passengers",
        value="fare",
        flag="delayed",
        area="shore",
        areas=("north", "south"),
        size="kilometres",
    ),
    Study(
        slug="orchard-harvest",
        owner="field-office",
        owner_is_organisation=True,
        title="Orchard harvest",
        licence="CC BY-SA 4.0",
        version=1,
        main="harvest.csv",
        second="varieties.csv",
        thing="picking",
        key="variety",
        keys=("Borsdorf", "Calville", "Delbard", "Elstar", "Florina", "Gala"),
        group="weekday",
        groups=("Monday", "Wednesday", "Friday"),
        amount="crates",
        value="weight",
        flag="irrigated",
        area="slope",
        areas=("east", "west", "plain"),
        size="trees",
    ),
    Study(
        slug="library-loans",
        owner="tomasweir",
        owner_is_organisation=False,
        title="Loans of a town's libraries",
        licence="Attribution 4.0 International (CC BY 4.0)",
        version=7,
        main="loans.csv",
        second="branches.csv",
        thing="loan",
        key="branch",
        keys=("Ash", "Birch", "Cedar", "Elm"),
        group="genre",
        groups=("crime", "poetry", "travel", "history"),
        amount="days",
        value="fee",
        flag="renewed",
        area="district",
        areas=("old town", "harbour"),
        size="staff",
    ),
)
