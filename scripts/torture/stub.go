package main

func quickScenario() scenario { return scenario{} }
