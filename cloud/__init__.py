"""The cloud: ingest, time series, REST, alarms, training, registry, roll-outs and the dashboard's files.

It knows neither devices nor the edge's code: sites reach it over MQTT (`shared.wire`), people over REST.
"""
