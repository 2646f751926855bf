"""The mathematics: functions of tensors without state, logging, device moves or collectives."""
