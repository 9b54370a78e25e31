"""What every data set builder shares: records made by all cores, written in bounded memory, all or nothing."""






