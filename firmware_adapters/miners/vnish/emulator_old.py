"""What the betas of 1.2.0 print otherwise than the versions after them (miners.md §1.5, recorded replies).

Pages of `emulator_pages` in, the same page as the old firmware has it out.
"""

from firmware_adapters.miners.emulated import BoardView, MinerView
from firmware_adapters.miners.vnish.emulator_pages import Json, limits
from firmware_adapters.miners.vnish.fields import child, children


def info(page: Json) -> Json:
    """`/info` without algorithm and serial number."""
    return {name: value for name, value in page.items() if name not in ("algorithm", "serial")}


def summary(page: Json, view: MinerView, *, beta: bool) -> Json:
    """`/summary`: single sensors, no factory rating, no supply; betas know `power_usage` only."""
    miner = child(page, "miner")
    if miner is None:
        return page
    for name in ("hr_stock", "hr_nominal", "psu"):
        miner.pop(name, None)
    for fan in children(child(miner, "cooling"), "fans"):
        fan.pop("max_rpm", None)
        if beta:
            fan.pop("status", None)
    for chain, board in zip(children(miner, "chains"), view.boards, strict=False):
        if beta:
            chain["power_usage"] = chain.pop("power_consumption")
        for key, what in (("pcb_temp_sens", "board"), ("chip_temp_sens", "chip")):
            chain.setdefault(key, _sensors(board, what))
    if beta:
        miner["power_usage"] = round(view.power_w, 1)
        miner.pop("power_consumption", None)
        page["system"] = {"os": "GNU/Linux", "miner_name": view.model, "uptime": "0:06"}
    return page


def _sensors(board: BoardView, what: str) -> list[Json]:
    return [
        {"status": "measure" if board.working else "init", "temp": round(value or 0.0)}
        for value in limits(board, what)
    ]


def chips(listed: list[Json], view: MinerView, *, temperatures: bool) -> Json:
    """`/chips`: the older shape of the list that became `/chains` and then `/boards`; the betas leave out
    the `temperatures`."""
    return {
        "chips_per_chain": view.chips_per_board,
        "chains": [
            {
                "id": board["id"],
                "chips": [
                    {
                        "id": chip["id"],
                        "status": chip["grade"],
                        "hashrate": chip["hr"],
                        "freq": chip["freq"],
                        "errors": chip["errs"],
                        "sensor": None,
                        **({"temp": chip["temp"]} if temperatures else {}),
                    }
                    for chip in children(board, "chips")
                ],
            }
            for board in listed
        ],
    }


def switcher(page: Json) -> Json:
    """The two settings that the switcher had."""
    return {name: page[name] for name in ("enabled", "top_preset")}
