"""A year of a real shop, cleaned by named steps: every line of its file is accounted for.

    python benchmarks/retail.py --data DIR

DIR/uci-online-retail holds online_retail_2010_2011.parquet, the 541,909 lines of UCI Online Retail, with the columns of
its publisher. They are imported by `zhiyin ingest FILE --clean retail`, then into the same store as a GB18030 CSV with
Chinese column names, dates and countries. It ends with status 1 unless the report of each accounts for every line, by
step, as in `LEFT`, and the second import finds that the store knows each of its rows.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl

LINES = 541_909
LEFT = {
    "missing-user": 406_829,
    "cancellations": 397_924,
    "returns": 397_924,
    "non-positive-price": 397_884,
    "junk-item-codes": 396_337,
}
"""Refusal or step -> lines left after it, in their order: first purchases with a customer, then those with a price."""

CHINESE = {
    "InvoiceNo": "订单号",
    "StockCode": "商品编码",
    "Description": "商品名称",
    "Quantity": "数量",
    "InvoiceDate": "下单时间",
    "UnitPrice": "单价",
    "CustomerID": "客户编号",
    "Country": "国家",
}


def write_chinese(source: Path, path: Path) -> None:
    frame = pl.read_parquet(source).with_columns(
        pl.col("CustomerID").cast(pl.Int64),
        pl.col("InvoiceDate").dt.strftime("%Y年%m月%d日 %H:%M:%S"),
        pl.col("Country").replace({"United Kingdom": "英国", "France": "法国", "Germany": "德国"}),
    )
    path.write_bytes(frame.rename(CHINESE).write_csv().encode("gb18030"))


def ingest(file: Path, store: Path) -> Any:
    """What `zhiyin ingest` reports of the file, its seconds printed."""
    program = Path(sys.executable).with_name("zhiyin")
    words = [str(program), "ingest", str(file), "--clean", "retail", "--store", f"sqlite:///{store}"]
    print(f"\n{' '.join(['zhiyin', *words[1:]])}")
    began = time.perf_counter()
    output = subprocess.run([*words, "--json"], check=True, capture_output=True, text=True).stdout
    print(f"{time.perf_counter() - began:.1f} s; load {os.getloadavg()[0]:.1f}")
    return json.loads(output)["files"][0]


def accounted(report: Any) -> bool:
    """Prints what each step took and left; whether it is as in `LEFT`."""
    taken = {**report["refused"], **report["removed"]}
    left = report["read"]
    print(f"{'':20} {'taken out':>10} {'left':>10}\n{'lines of the file':20} {'':10} {left:10,}")
    found = {}
    for step, count in taken.items():
        left -= count
        found[step] = left
        print(f"{step:20} {count:10,} {left:10,}{'' if LEFT.get(step) == left else '   missed'}")
    print(f"{'added':20} {report['added']:10,}\n{'known already':20} {report['known']:10,}")
    return report["read"] == LINES and found == LEFT and report["added"] + report["known"] == left


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    source = parser.parse_args().data / "uci-online-retail" / "online_retail_2010_2011.parquet"
    with tempfile.TemporaryDirectory() as folder:
        store, chinese = Path(folder) / "shop.db", Path(folder) / "零售.csv"
        first = ingest(source, store)
        missed = [] if accounted(first) and not first["known"] else ["the publisher's file"]
        write_chinese(source, chinese)
        second = ingest(chinese, store)
        missed += [] if accounted(second) and not second["added"] else ["the GB18030 file"]
    sys.exit(f"missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
