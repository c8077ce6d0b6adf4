"""Options that several commands on steering share."""

from __future__ import annotations

import click

for_users = click.option("--users", help="Only for these users: a file of ids, or U1,U2,...")


for_cohort = click.option(
    "--cohort",
    metavar="RULE",
    help="Only for users that a rule chooses: 'concept:Horror>0.1' or 'item:Alien'.",
)


save_option = click.option(
    "--save",
    metavar="FILE",
    help="Keep it as a steering file: a name kept with the run, or a path ending in .json.",
)


replace_option = click.option(
    "--replace", is_flag=True, help="Let --save replace another steering that is kept there."
)
