SELECT record FROM consents WHERE record IN @texts(records)
