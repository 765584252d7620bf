"""How the corpus's authors write: the same kinds of findings, worked out in the ways that people have.

A style is a function from a study to cells: ("text" | "code", source). What a cell finds out it prints in one of five
sentences, which `tests/stand_ins/teacher_rules.py` can read and turn into questions:

    mean of FARE where SEASON is spring and DELAYED is no: 12.34
    mean of FARE where SHORE is north (joined by ROUTE): 11.02
    ROUTE with the highest total of PASSENGERS: Ember
    share of rows where DELAYED is yes: 0.2975
    spread of FARE in the ROUTE with the most rows: 27.10
"""

from __future__ import annotations

from collections.abc import Callable

from tests.pipeline.corpus.studies import Study

Cells = list[tuple[str, str]]
Style = Callable[[Study], Cells]


def filled(cells: Cells, study: Study) -> Cells:
    """Templates with the study's names in place of `<key>`, `<value>` and so on."""
    done = []
    for kind, source in cells:
        for name, text in study.names.items():
            source = source.replace(f"<{name}>", text)
        done.append((kind, source.strip("\n")))
    return done


def groups(study: Study) -> Cells:
    """Group by, with a sentence before and after each step."""
    return filled(
        [
            ("text", "# <title>: what do the groups tell?\n\nWe look at every <thing> and compare groups of them."),
            ("code", "import pandas as pd\n\ntable = pd.read_csv('../input/<slug>/<main>')\ntable.head()"),
            ("text", "The columns are as expected. First question: does `<value>` depend on the `<group>`?"),
            ("code", "by_<group> = table.groupby('<group>')['<value>'].agg(['mean', 'count'])\nby_<group>.round(3)"),
            (
                "code",
                "calm = table[(table['<group>'] == '<group1>') & (table['<flag>'] == 'no')]\n"
                "print(f\"mean of <value> where <group> is <group1> and <flag> is no: {calm['<value>'].mean():.2f}\")",
            ),
            ("text", "That is close to the overall mean. Next: which `<key>` carries the most `<amount>`?"),
            (
                "code",
                "totals = table.groupby('<key>')['<amount>'].sum().sort_values(ascending=False)\n"
                "print(totals)\nprint('<key> with the highest total of <amount>:', totals.index[0])",
            ),
            ("text", "And how often does it happen that `<flag>` is *yes*?"),
            (
                "code",
                "share = (table['<flag>'] == 'yes').mean()\nprint(f'share of rows where <flag> is yes: {share:.4f}')",
            ),
            ("text", "**Conclusion.** The `<group>` matters little, one `<key>` leads, and about a third are flagged."),
        ],
        study,
    )


def chains(study: Study) -> Cells:
    """Method chains and a join."""
    return filled(
        [
            ("text", "# Joining <main> with <second>\n\nThe interesting column, `<area>`, is in the second table."),
            (
                "code",
                "import os\nimport pandas as pd\nimport numpy as np\n\nFOLDER = '../input/<slug>'\n"
                "main = pd.read_csv(os.path.join(FOLDER, '<main>'))\nsecond = pd.read_csv(f'{FOLDER}/<second>')\n"
                "main.shape, second.shape",
            ),
            ("text", "Every `<key>` of the main table should be found in the second one. We make sure of that."),
            (
                "code",
                "joined = main.merge(second, on='<key>', how='left', validate='many_to_one')\n"
                "joined['<area>'].isna().sum()",
            ),
            (
                "code",
                "per_area = joined.pivot_table(index='<area>', columns='<group>', values='<value>', aggfunc='mean')\n"
                "per_area.round(2)",
            ),
            ("text", "The areas differ. For the first of them, as one figure:"),
            (
                "code",
                "found = joined.query(\"<area> == '<area1>'\")['<value>'].mean()\n"
                "print(f'mean of <value> where <area> is <area1> (joined by <key>): {found:.2f}')",
            ),
            ("text", "Last, how widely does `<value>` range where most of the rows are?"),
            (
                "code",
                "most = joined['<key>'].value_counts().idxmax()\n"
                "values = joined.loc[joined['<key>'] == most, '<value>']\n"
                "print(f'spread of <value> in the <key> with the most rows: {np.ptp(values):.2f}')",
            ),
            ("text", "So the range within one `<key>` is far larger than the difference between areas."),
        ],
        study,
    )


def functions(study: Study) -> Cells:
    """Small functions, loops, f-strings, and a cell that is run for its side effect."""
    return filled(
        [
            (
                "text",
                "## Exploring the <slug> data\n\nI like to write small functions and to call them for each group.",
            ),
            ("code", "import pandas as pd\nfrom pathlib import Path\n\nINPUT = Path('/kaggle/input') / '<slug>'"),
            (
                "code",
                "if not INPUT.exists():\n    INPUT = Path('../input') / '<slug>'\n"
                "frame = pd.read_csv(INPUT / '<main>')\n"
                "frame.info()",
            ),
            ("text", "### A function for means\nRows are chosen by a group and by the flag."),
            (
                "code",
                "def mean_where(group, flag):\n    rows = frame[(frame.<group> == group) & (frame.<flag> == flag)]\n"
                "    return rows.<value>.mean()\n\nfor group in sorted(frame.<group>.unique()):\n"
                "    mean = mean_where(group, 'yes')\n"
                "    print(f'mean of <value> where <group> is {group} and <flag> is yes: {mean:.2f}')",
            ),
            ("text", "### Who leads?\nTotals by `<key>`, the largest first."),
            (
                "code",
                "ranking = frame.groupby('<key>').<amount>.sum().nlargest(3)\n"
                "for place, name in enumerate(ranking.index, 1):\n"
                "    print(place, name, ranking[name])\n"
                "print('<key> with the highest total of <amount>: ' + ranking.index[0])",
            ),
            ("text", "The flag is what the office asked about, so its share in numbers:"),
            ("code", "print('share of rows where <flag> is yes: %.4f' % frame.<flag>.eq('yes').mean())"),
            ("text", "### Summary\nThe leader is clear, and the flag does not move the means much."),
        ],
        study,
    )


def sql(study: Study) -> Cells:
    """The tables in SQLite, the questions in SQL."""
    return filled(
        [
            ("text", "# <title> in SQL\n\nSQL says more clearly than pandas what is being computed. We use SQLite."),
            (
                "code",
                "import sqlite3\nimport pandas as pd\n\nbase = sqlite3.connect(':memory:')\n"
                "for name in ['<main>', '<second>']:\n"
                "    pd.read_csv('../input/<slug>/' + name).to_sql(name[:-4], base, index=False)",
            ),
            ("text", "A first look at what the second table adds:"),
            ("code", "main, second = '<main>'[:-4], '<second>'[:-4]\npd.read_sql(f'SELECT * FROM {second}', base)"),
            ("text", "The average within an area needs a join. We also count, to see how far it can be trusted."),
            (
                "code",
                "query = f'''SELECT {second}.<area> AS area, COUNT(*) AS n, AVG({main}.<value>) AS average\n"
                "FROM {main} JOIN {second} USING (<key>) GROUP BY 1 ORDER BY 1'''\nareas = pd.read_sql(query, base)\n"
                "for row in areas.itertuples():\n"
                "    print(f'mean of <value> where <area> is {row.area} (joined by <key>): {row.average:.2f}')",
            ),
            ("text", "There are enough rows everywhere. The spread within the largest group, by a subquery:"),
            (
                "code",
                "inner = f'SELECT <key> FROM {main} GROUP BY 1 ORDER BY COUNT(*) DESC LIMIT 1'\n"
                "ends = f'SELECT MIN(<value>), MAX(<value>) FROM {main} WHERE <key> = ({inner})'\n"
                "low, high = base.execute(ends).fetchone()\n"
                "print(f'spread of <value> in the <key> with the most rows: {high - low:.2f}')",
            ),
            ("text", "We conclude that single rows differ far more than areas do."),
        ],
        study,
    )


def plots(study: Study) -> Cells:
    """Pictures first, figures after; ends with a table as HTML."""
    return filled(
        [
            ("text", "# Pictures of every <thing>\n\nA distribution says more than a mean. We draw, then we count."),
            (
                "code",
                "%matplotlib inline\nimport matplotlib.pyplot as plt\nimport pandas as pd\n\n"
                "data = pd.read_csv('../input/<slug>/<main>')\ndata.describe()",
            ),
            ("text", "The histogram of `<value>` is skewed, as waiting times and prices often are."),
            (
                "code",
                "fig, axis = plt.subplots(figsize=(3, 2), dpi=50)\naxis.hist(data['<value>'], bins=12)\n"
                "axis.set_title('<value>')\nplt.show()",
            ),
            ("text", "How does it look between the values of `<flag>`, within one `<group>`?"),
            (
                "code",
                "one = data.loc[data['<group>'].eq('<group1>')]\nmeans = one.groupby('<flag>')['<value>'].mean()\n"
                "for flag, mean in means.items():\n"
                "    print(f'mean of <value> where <group> is <group1> and <flag> is {flag}: {mean:.2f}')",
            ),
            ("text", "A styled table for the report, and the share that the report opens with:"),
            (
                "code",
                "counts = pd.crosstab(data['<group>'], data['<flag>'], normalize='index')\n"
                "counts.style.format('{:.1%}')",
            ),
            ("code", "print('share of rows where <flag> is no:', round((data['<flag>'] == 'no').mean(), 4))"),
            ("text", "The flag is spread evenly over the groups; nothing here needs a test."),
        ],
        study,
    )


def modelling(study: Study) -> Cells:
    """A model of a table after a look at it: what it scores is no question about the data."""
    return filled(
        [
            (
                "text",
                "# Can `<flag>` be predicted?\n\nWe look at the data, then fit a small model. Scores are secondary.",
            ),
            (
                "code",
                "import pandas as pd\nimport statsmodels.api as sm\n\nsample = pd.read_csv('../input/<slug>/<main>')",
            ),
            ("text", "Before any model, the share that must be beaten, and who is behind most of the rows:"),
            (
                "code",
                "target = sample['<flag>'].eq('yes')\n"
                "print(f'share of rows where <flag> is yes: {target.mean():.4f}')\n"
                "leaders = sample.groupby('<key>')['<amount>'].sum()\n"
                "print('<key> with the highest total of <amount>:', leaders.idxmax())",
            ),
            ("text", "Two numeric columns will do for a first model."),
            (
                "code",
                "columns = sm.add_constant(sample[['<amount>', '<value>']])\n"
                "model = sm.Logit(target.astype(int), columns).fit(disp=False)\n"
                "print(f'accuracy of the model: {((model.predict(columns) > 0.5) == target).mean():.4f}')",
            ),
            ("text", "As good as guessing: these columns do not explain the flag. That is a finding, too."),
        ],
        study,
    )


GOOD: tuple[Style, ...] = (groups, chains, functions, sql, plots, modelling)
